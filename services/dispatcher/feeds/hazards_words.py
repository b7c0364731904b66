"""What event texts of the world's warning offices call each hazard, by language. Data; `hazards` reads it.

Lower case, accents left out (ß is ss); a plural s needs no entry. A longer word wins over a shorter one, so a short one
may be broad: "wind" stands beside "wind chill". Texts in Chinese, Japanese, Korean and Thai are searched anywhere, all
others by whole words.
"""

from __future__ import annotations

WORDS: dict[str, dict[str, str]] = {
    "flood": {
        "zh": (
            "洪水,山洪,内涝,內澇,洪涝,洪澇,淹水,水浸,水淹,积水,積水,泄洪,洩洪,溃坝,潰壩,水庫放流,河川高水位,"
            "江河洪水,渍涝"
        ),
        "en": (
            "flood,flooding,flash flood,flash flooding,coastal flood,lakeshore flood,dam break,dam failure,"
            "river level,rain flood,hydrologic outlook,overland flow,high streamflow,inundation"
        ),
        "es": "inundacion,inundaciones,crecida,desborde,desbordamiento,avenida torrencial",
        "pt": "inundacao,inundacoes,alagamento,enxurrada,cheia,enchente,transbordo",
        "fr": "inondation,crue,crue soudaine,pluie inondation,submersion,debordement",
        "de": "hochwasser,uberschwemmung,uberschwemmungen,uberflutung,sturzflut,flut",
        "it": "alluvione,inondazione,esondazione,piena,allagamento,rischio idraulico,idraulica",
        "nl": "overstroming,hoogwater,wateroverlast",
        "nordic": (
            "flom,regnflom,jordskred og flomfare,oversvamning,hoga floden,mycket hoga floden,oversvommelse,"
            "floð,tulva,hoyvann"
        ),
        "id": "banjir,banjir bandang,banjir rob",
        "fil": "baha,pagbaha",
        "slavic": "наводнение,паводок,повінь,поводь,поплава,poplava,povoden,povodne,powodz,wezbranie,пороини",
        "other": "taskin,pluvius,inundatii,arviz,πλημμυρα,فيضان,سيول,बाढ",
        "ja": "氾濫,浸水",
        "ko": "홍수,침수",
        "th": "นําทวม",
    },
    "typhoon": {
        "zh": "台风,颱風,臺風,热带气旋,熱帶氣旋,热带风暴,熱帶風暴,热带低压,熱帶低氣壓,飓风,颶風",
        "en": "typhoon,hurricane,cyclone,tropical cyclone,tropical storm,tropical depression",
        "es": "ciclon,ciclon tropical,huracan,tormenta tropical,depresion tropical,tifon",
        "pt": "ciclone,ciclone tropical,furacao,tempestade tropical,tufao",
        "fr": "cyclone tropical,ouragan,typhon,tempete tropicale,depression tropicale",
        "de": "hurrikan,taifun,wirbelsturm,tropensturm",
        "it": "uragano,tifone",
        "id": "siklon,siklon tropis,topan",
        "fil": "bagyo",
        "other": "ураган тропическии,таифун,اعصار,चकरवात",
        "ko": "태풍",
        "th": "พายไตฝน",
    },
    "tornado": {
        "zh": "龙卷风,龍捲風,龙卷,龍捲,陆龙卷,水龙卷,水龍捲",
        "en": "tornado,waterspout",
        "fr": "tornade",
        "pt": "tromba d agua",
        "it": "tromba d aria,tromba marina",
        "slavic": "торнадо,смерч",
        "ja": "竜巻",
    },
    "rainstorm": {
        "zh": "暴雨,豪雨,大豪雨,大雨,黑雨,红雨,紅雨",
        "en": (
            "rainstorm,rain,rainfall,heavy rain,heavy rainfall,torrential rain,excessive rainfall,"
            "very heavy rain,intense rain,cloudburst,downpour"
        ),
        "es": "lluvia,lluvia intensa,lluvia fuerte,lluvias intensas,lluvias fuertes,precipitaciones,aguacero",
        "pt": "chuva,chuva intensa,chuvas intensas,chuva forte,acumulado de chuva,precipitacao,aguaceiro",
        "fr": "pluie,fortes pluies,forte pluie,pluies intenses,averse,precipitations",
        "de": ("starkregen,dauerregen,heftiger starkregen,ergiebiger dauerregen,extrem heftiger starkregen,regen"),
        "it": "pioggia,piogge,forti piogge,nubifragio,rovesci,precipitazioni,rischio idrogeologico",
        "nl": "zware regen,regenval",
        "nordic": (
            "regn,kraftig regn,mye regn,styrtregn,skyfall,svart mye regn,skybrud,kraftigt regn,rigning,sade,rankkasade"
        ),
        "id": "hujan lebat,hujan,hujan deras",
        "fil": "ulan,malakas na ulan",
        "slavic": (
            "дождь,сильныи дождь,ливень,дощ,дъжд,киша,kisa,dest,dazd,deszcz,intensywne opady deszczu,opady deszczu"
        ),
        "other": "yagmur,ploaie,ploi,βροχη,مطر,امطار,भारी वरषा,वरषा",
        "ko": "호우",
        "th": "ฝนตกหนัก",
    },
    "snowstorm": {
        "zh": "暴雪,暴风雪,暴風雪",
        "en": (
            "snowstorm,blizzard,winter storm,winter weather,snow squall,blowing snow,drifting snow,snow ice,"
            "snow and ice"
        ),
        "es": "tormenta de nieve,tormenta invernal,ventisca",
        "pt": "tempestade de neve,nevasca",
        "fr": "tempete hivernale,tempete de neige,bourrasque de neige,poudrerie,neige verglas",
        "de": "schneesturm,schneeverwehung,schneeverwehungen,starke schneeverwehung",
        "it": "bufera di neve",
        "nordic": "snostorm,snofokk,snefokk,snedrev,fjallvader,snodrev,snestorm,lumimyrsky",
        "slavic": "метель,хуртовина,snezna vanice,zawieje,zamiecie",
        "ko": "폭설",
    },
    "cold_wave": {
        "zh": "寒潮,强降温,強降溫,寒流",
        "en": "cold wave,cold snap,arctic outflow,cold surge,cold front",
        "es": "ola de frio,frente frio,descenso de temperatura",
        "pt": "onda de frio,declinio de temperatura,friagem",
        "fr": "vague de froid",
        "de": "kaltewelle",
        "it": "ondata di freddo",
        "ko": "한파",
    },
    "gale": {
        "zh": "大风,大風,强风,強風,烈风,烈風,季候风,季候風,阵风,陣風,瞬間強風,陸上強風",
        "en": (
            "gale,wind,high wind,strong wind,severe gale,wind gust,damaging wind,destructive wind,monsoon,"
            "storm,storm force,hurricane force wind,windstorm,squall,extreme wind,gust,les suetes,wreckhouse"
        ),
        "es": ("viento,vientos,vientos fuertes,viento fuerte,vendaval,temporal de viento,rachas de viento,rachas"),
        "pt": "vento,ventos fortes,vento forte,ventos costeiros,moncao,rajada",
        "fr": "vent,vents,vent violent,vents forts,vent fort,tempete,coup de vent,rafales",
        "de": ("sturm,sturmboen,windboen,orkan,orkanboen,orkanartige boen,schwere sturmboen,boen,unwetter sturm,fohn"),
        "it": "venti,venti forti,burrasca,raffiche,tempesta",
        "nl": "zware windstoten,windstoten,windhozen",
        "nordic": (
            "vind,kuling,sterk kuling,vindkast,kraftige vindkast,hard vind,vindbyar,kraftiga vindbyar,vindur,"
            "hvassviðri,tuuli,myrsky,kovat tuulenpuuskat,blaest"
        ),
        "id": "angin kencang,angin",
        "fil": "hangin",
        "slavic": (
            "ветер,сильныи ветер,вітер,вятър,ветар,vjetar,vitr,vietor,wiatr,silny wiatr,veter,шквал,буря,бура,bura"
        ),
        "other": "ruzgar,firtina,ανεμοσ,ανεμοι,رياح,haizea,vejs,tuul",
        "ko": "강풍",
        "ja": "暴風",
    },
    "sandstorm": {
        "zh": "沙尘暴,沙塵暴,沙尘,沙塵,扬沙,揚沙,浮尘,黄沙",
        "en": "sandstorm,dust storm,blowing dust,dust,sand and dust,duststorm,dust advisory",
        "es": "tormenta de arena,polvo,calima,polvo en suspension",
        "pt": "tempestade de areia,poeira",
        "fr": "tempete de sable,poussiere,vent de sable,tempete de poussiere",
        "de": "sandsturm",
        "slavic": "пыльная буря",
        "other": "عاصفة رملية,غبار",
        "ko": "황사",
    },
    "low_temperature": {
        "zh": "低温冻害,低温,低溫,寒冷,严寒,嚴寒",
        "en": "low temperature,extreme cold,wind chill,cold weather,cold,very cold,windchill",
        "es": "bajas temperaturas,frio extremo,temperaturas extremas frio,frio,temperaturas minimas",
        "pt": "baixa temperatura,frio intenso,tempo frio",
        "fr": "grand froid,froid extreme,froid,refroidissement eolien,temperatures basses",
        "de": "strenger frost,kalte,tiefe temperaturen",
        "it": "basse temperature,freddo,gelo intenso",
        "nordic": "lave temperaturer,laga temperaturer,stark kyla,kyla,kulda,pakkanen",
        "slavic": "мороз,сильныи мороз,hladno,mraz,silny mroz,ниски температури",
    },
    "heat": {
        "zh": "高温,高溫,酷热,酷熱,炎热,炎熱",
        "en": (
            "high temperature,extreme high temperature,extreme heat,excessive heat,very hot weather,"
            "hot weather,heat,hot days,heat health"
        ),
        "es": (
            "altas temperaturas,calor,calor extremo,temperaturas maximas,temperaturas extremas calor,calor excesivo"
        ),
        "pt": "tempo quente,temperaturas elevadas",
        "fr": "chaleur,forte chaleur,chaleur extreme,temperatures elevees",
        "de": "hitze,starke hitze,extreme hitze,starke warmebelastung,warmebelastung",
        "it": "caldo,alte temperature,calore",
        "nordic": "hoga temperaturer,mycket hoga temperaturer,hoje temperaturer,varme,helle",
        "id": "suhu tinggi,panas ekstrem",
        "slavic": "жара,сильная жара,спека,vrucina,upal,горещини,visoka temperatura,високи температури",
        "ja": "熱中症",
    },
    "heat_wave": {
        "zh": "热浪,熱浪",
        "en": "heat wave,heatwave",
        "es": "ola de calor",
        "pt": "onda de calor",
        "fr": "canicule,vague de chaleur",
        "de": "hitzewelle",
        "it": "ondata di calore,ondate di calore",
        "nordic": "varmebolge,varmebolja",
        "other": "toplinski val,toplotni talas,موجة حر,लू",
        "ko": "폭염",
    },
    "dry_hot_wind": {
        "zh": "干热风,乾熱風",
        "es": "zonda,viento zonda",
    },
    "downburst": {
        "zh": "下击暴流",
        "en": "downburst,microburst",
    },
    "avalanche": {
        "zh": "雪崩",
        "en": "avalanche,snow avalanche",
        "es": "avalancha,alud,aludes",
        "de": "lawine,lawinen,lawinengefahr",
        "it": "valanga,valanghe",
        "nordic": "snoskred,snoskredfare,lavin,snjoflod",
        "slavic": "лавина,lavina,lawina",
    },
    "lightning": {
        "zh": "雷电,雷電,雷击,雷擊,闪电,閃電,落雷",
        "en": "lightning",
        "es": "rayos,descargas electricas,actividad electrica",
        "pt": "raios,descargas eletricas",
        "fr": "foudre",
        "nordic": "mye lyn",
        "id": "petir,kilat",
        "slavic": "молния",
    },
    "hail": {
        "zh": "冰雹,雹",
        "en": "hail,hailstorm,large hail",
        "es": "granizo,granizada",
        "fr": "grele",
        "de": "hagel",
        "it": "grandine",
        "nordic": "hagl",
        "slavic": "град,grad,tuca,kroupy",
        "ko": "우박",
    },
    "frost": {
        "zh": "霜冻,霜凍",
        "en": "frost,freeze,hard freeze,ground frost",
        "es": "helada,heladas",
        "pt": "geada",
        "fr": "gel,gelee,gelees",
        "de": "leichter frost",
        "it": "gelate,brina",
        "slavic": "заморозки,слана,przymrozki",
    },
    "fog": {
        "zh": "大雾,大霧,浓雾,濃霧,雾,團霧,团雾",
        "en": "dense fog,fog,freezing fog,low visibility",
        "es": "niebla,niebla densa,neblina,bruma",
        "pt": "nevoeiro,nevoa",
        "fr": "brouillard,brouillards",
        "de": "nebel",
        "it": "nebbia,nebbie",
        "nl": "mist,dichte mist",
        "nordic": "dimma,tat dimma,tage,sumu",
        "id": "kabut",
        "slavic": "туман,мъгла,магла,magla,mlha,hmla,mgla,gesta mgla",
        "other": "ceata,ομιχλη,ضباب,कोहरा",
    },
    "wind_shear": {
        "zh": "低空风切变,風切變,风切变",
        "en": "wind shear",
    },
    "haze": {
        "zh": "霾,雾霾,霧霾",
        "en": "haze,dense smoke,smoke",
        "fr": "brume seche,fumee",
        "es": "humo",
        "id": "kabut asap,asap",
    },
    "thunderstorm_gale": {
        "zh": "雷雨大风,雷雨大風,雷暴大风,雷暴,雷雨,雷陣雨",
        "en": ("severe thunderstorm,thunderstorm,thunder storm,thunderstorm and lightning,thunderstorm lightning"),
        "es": "tormenta,tormentas,tormenta electrica,tormentas fuertes,tormenta severa,tormentas aisladas",
        "pt": "tempestade,tempestades,trovoada,trovoadas,temporal",
        "fr": "orage,orages,orage violent,orages violents",
        "de": "gewitter,starkes gewitter,schweres gewitter,schwere gewitter,unwetter",
        "it": "temporale,temporali,temporali forti",
        "nl": "onweer,onweersbuien,zware onweersbuien",
        "nordic": "torden,tordenvaer,aska,askvader,tordenbyger,ukkonen,rajuilma,þrumuveður",
        "id": "badai petir,badai guntur,hujan lebat disertai petir,hujan lebat dan petir",
        "slavic": (
            "гроза,грозы,гръмотевична буря,грмљавина,grmljavina,grmljavinsko nevrijeme,nevihta,nevihte,"
            "bourka,bourky,burka,burky,burza,burze,nevrijeme"
        ),
        "other": ("oraj,furtuni,zivatar,καταιγιδα,καταιγιδεσ,عواصف رعدية,gok gurultulu saganak,perkons,aike,perkunija"),
        "ko": "뇌우",
        "th": "พายฝนฟาคะนอง",
    },
    "road_icing": {
        "zh": "道路结冰,道路結冰",
        "en": (
            "road icing,icy road,road ice,black ice,ice,icing,slippery road,freezing drizzle,road snowfall,icy roads"
        ),
        "es": "hielo,hielo en carretera",
        "fr": "verglas",
        "de": "glatteis,glatte,strassenglatte",
        "it": "ghiaccio",
        "nl": "gladheid,ijzel,gladde wegen",
        "nordic": "ishalka,isglatte,halka,halt vaglag,is pa veg",
        "slavic": "гололед,ожеледиця,поледица,poledica,naledi,gololedz,oblodzenie",
    },
    "drought": {
        "zh": "干旱,乾旱,旱灾,旱災,枯旱",
        "en": "drought,low humidity",
        "es": "sequia",
        "pt": "seca,estiagem,baixa umidade",
        "fr": "secheresse",
        "de": "durre,trockenheit",
        "it": "siccita",
        "nordic": "torka,torke,vattenbrist",
        "id": "kekeringan",
        "slavic": "засуха,susa,susza",
        "other": "जलसतर,सूखा",
    },
    "sea_gale": {
        "zh": "海上大风,海上大風",
        "en": (
            "small craft,gale at sea,special marine,marine weather,marine wind,near gale,hazardous seas,"
            "brisk wind,marine thunderstorm"
        ),
        "nordic": "kuling pa kysten,kuling fra,vind till havs,sterk ising pa skip",
    },
    "heat_stroke": {
        "zh": "高温中暑,高溫中暑",
    },
    "forest_fire_risk": {
        "zh": "森林火险,森林火險,火災危險,火险,林火危險",
        "en": (
            "red flag,fire weather,fire danger,forest fire danger,extreme fire danger,forest fire risk,"
            "total fire ban,wildfire risk,wildfire danger"
        ),
        "es": "riesgo de incendio,peligro de incendio,riesgo de incendio forestal,peligro de incendios",
        "pt": "perigo de incendio,risco de incendio,risco de incendio florestal",
        "fr": "risque de feu,danger d incendie,risque incendie",
        "de": "waldbrandgefahr",
        "it": "rischio incendi,pericolo incendi",
        "nordic": (
            "skogbrannfare,brandrisk,risk for skogsbrand,brandfara,skovbrandfare,ruohikkopalovaroitus,metsapalovaroitus"
        ),
        "slavic": "пожароопасность,opasnost od pozara",
    },
    "grassland_fire_risk": {
        "zh": "草原火险",
        "nordic": "grasbrandsfara,risk for grasbrand",
    },
    "freezing": {
        "zh": "冰冻,冰凍,冻雨,凍雨,低温雨雪冰冻",
        "en": "ice storm,freezing rain,freeze rain,flash freeze,freezing spray",
        "es": "lluvia helada,lluvia engelante",
        "fr": "pluie verglacante,tempete de verglas,bruine verglacante",
        "de": "eisregen,gefrierender regen",
        "it": "pioggia gelata",
        "nordic": "underkylt regn,isstorm",
        "slavic": "ледянои дождь",
    },
    "space_weather": {
        "zh": "空间天气",
        "en": "space weather,geomagnetic storm,solar storm,solar flare",
        "es": "tormenta geomagnetica",
    },
    "air_pollution": {
        "zh": "重污染,空气污染,空氣污染,空氣品質,臭氧,空气质量",
        "en": "air quality,air pollution,air stagnation,ozone,smog",
        "es": "contaminacion,contaminacion atmosferica,calidad del aire",
        "pt": "qualidade do ar",
        "fr": "pollution,qualite de l air",
        "it": "inquinamento",
        "de": "ozon",
    },
    "severe_convection": {
        "zh": "强对流,強對流",
        "en": "severe convection",
    },
    "heavy_snow": {
        "zh": "大雪,降雪,雪灾,雪災",
        "en": "heavy snow,snow,snowfall,lake effect snow,heavy snowfall",
        "es": "nevada,nevadas,nieve",
        "pt": "neve,queda de neve",
        "fr": "neige,chute de neige,chutes de neige,fortes chutes de neige",
        "de": "schneefall,starker schneefall,extrem starker schneefall,schnee,leichter schneefall",
        "it": "nevicate,nevicata",
        "nl": "sneeuw,sneeuwval",
        "nordic": "sno,snofall,kraftig snofall,sne,snefald,snjokoma,hriðarveður,lumisade",
        "slavic": (
            "снег,снегопад,сильныи снег,сніг,сняг,снијег,snijeg,sneg,snezeni,snezenie,snieg,opady sniegu,"
            "intensywne opady sniegu"
        ),
        "other": "ninsoare,ninsori,hofuvas,havazas,χιονοπτωση,ثلوج",
        "ko": "대설",
    },
    "geological_risk": {
        "zh": "地质灾害气象风险",
    },
    "heavy_rainfall": {
        "zh": "强降雨,強降雨,强降水,強降水,降雨,连阴雨",
    },
    "earthquake": {
        "zh": "地震",
        "en": "earthquake,seismic,quake",
        "es": "sismo,sismos,terremoto,alerta sismica,temblor",
        "pt": "abalo sismico",
        "fr": "seisme,tremblement de terre",
        "de": "erdbeben",
        "it": "sisma",
        "nordic": "jordskjelv,jordbavning,jarðskjalfti",
        "id": "gempa,gempabumi,gempa bumi",
        "fil": "lindol",
        "slavic": "землетрясение,земетресение,zemljotres,potres,zemetraseni,trzesienie ziemi",
        "other": "deprem,cutremur,σεισμοσ,زلزال,भूकंप",
        "ko": "지진",
        "th": "แผนดินไหว",
    },
    "geological": {
        "zh": "地质灾害,地質災害,滑坡,泥石流,崩塌,山体滑坡,土石流,山泥傾瀉,山泥倾泻,塌方,地面塌陷,大規模崩塌",
        "en": "landslide,landslip,debris flow,mudslide,mudflow,rockfall,rockslide,sinkhole",
        "es": ("deslizamiento,deslizamiento de tierra,deslave,aluvion,derrumbe,remocion en masa,movimiento en masa"),
        "pt": "deslizamento,deslizamento de terra,movimento de massa,desmoronamento",
        "fr": "glissement de terrain,eboulement,coulee de boue",
        "de": "erdrutsch,hangrutsch,felssturz,murgang,mure",
        "it": "frana,frane,smottamento",
        "nordic": "jordskred,jordskredfare,steinsprang,flom og jordskred,skred,skriðufoll",
        "id": "longsor,tanah longsor,gerakan tanah",
        "slavic": "оползень,сель,свлачище,odron,klizista",
        "other": "heyelan,भूसखलन",
        "ja": "土砂災害",
        "ko": "산사태",
    },
    "tsunami": {
        "zh": "海啸,海嘯",
        "en": "tsunami",
        "pt": "maremoto",
        "slavic": "цунами",
        "ja": "津波",
        "ko": "해일",
        "th": "สึนามิ",
        "other": "تسونامي",
    },
    "storm_surge": {
        "zh": "风暴潮,風暴潮,海水倒灌",
        "en": "storm surge,tidal surge,coastal event,coastalevent,storm tide,high water level",
        "es": "marejada ciclonica,marea de tormenta",
        "pt": "mare de tempestade",
        "fr": "onde de tempete,vagues submersion,vague submersion",
        "de": "sturmflut",
        "it": "acqua alta",
        "nordic": "hoy vannstand,hoga vattenstand,hogt vattenstand,hojt vandstand,stormflo,stormflod",
    },
    "sea_wave": {
        "zh": "海浪,巨浪,长浪,長浪,大浪",
        "en": (
            "high surf,rip current,beach hazards,high wave,rough sea,heavy swell,swell,dangerous surf,"
            "hazardous surf,high sea"
        ),
        "es": "oleaje,marejada,marejadas,mar de fondo,fenomenos costeros,costeros,resaca",
        "pt": "ressaca,agitacao maritima,ondas",
        "fr": "houle,forte houle,vagues,mer agitee",
        "it": "mareggiata,mareggiate,mare mosso",
        "de": "hoher seegang",
        "id": "gelombang tinggi",
        "nordic": "hoye bolger,hog sjo",
        "ko": "풍랑",
    },
    "wildfire": {
        "zh": "森林火灾,森林火災,草原火灾,山火,林火",
        "en": "wildfire,wild fire,bushfire,bush fire,forest fire,grass fire,grassfire,brush fire,scrub fire",
        "es": "incendio forestal,incendios forestales",
        "pt": "incendio florestal,queimada,incendio rural",
        "fr": "feu de foret,feux de foret,incendie de foret",
        "de": "waldbrand,flachenbrand,moorbrand,vegetationsbrand",
        "it": "incendio boschivo,incendi boschivi",
        "nl": "natuurbrand,bosbrand",
        "nordic": "skogbrann,skogsbrand,skovbrand,lyngbrann",
        "id": "kebakaran hutan,karhutla",
        "slavic": "леснои пожар,горски пожар,sumski pozar,lesni pozar,pozar lasu",
        "other": "orman yangini,δασικη πυρκαγια,πυρκαγια,حرايق الغابات",
        "ko": "산불",
    },
    "fire": {
        "zh": "火灾,火災,火警,失火",
        "en": "fire,structure fire,industrial fire,building fire",
        "es": "incendio,incendios",
        "fr": "incendie,feu",
        "de": "brand,grossbrand,feuer,gebaudebrand,rauchentwicklung,rauchgase,brandgeruch",
        "nl": "grote brand",
        "nordic": "brann,eldur,tulipalo",
        "id": "kebakaran",
        "slavic": "пожар,пожежа,pozar",
        "other": "yangin,حريق",
        "ko": "화재",
    },
    "traffic": {
        "zh": "交通事故,鐵路事故,铁路事故,道路封閉,道路封闭",
        "en": "traffic accident,road accident,rail accident,traffic incident,railway accident",
    },
    "public_utility": {
        "zh": "燃气泄漏,燃氣洩漏,停水,停电,停電,電力中斷,電話中斷,瓦斯外洩",
        "en": "gas leak,power outage,water outage,utility failure,telephone outage,911 outage",
        "de": "stromausfall,gasaustritt,trinkwasser,ausfall notruf,ausfall des notrufs,notruf",
        "fr": "panne d electricite",
        "es": "corte de agua,corte de luz,apagon",
    },
}
